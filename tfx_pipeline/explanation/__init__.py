"""The page that shows why a user is recommended what they are: one HTML file that needs nothing else."""
