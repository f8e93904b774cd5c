"""Where workers live, and how frames reach them."""
