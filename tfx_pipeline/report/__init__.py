"""What a run leaves for people: two pages that need no network, `index.html` and `statistics.html`."""
