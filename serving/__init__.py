"""From a trained model to answered requests: export, the embedded server, the client."""
