"""What the frozen beginning of a network makes of the images: computed once, kept on disk."""
