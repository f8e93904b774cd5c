"""Views of what a bridge holds. They see frozen snapshots only."""
