"""The outputs of the frozen blocks: computed once per image, kept on disk."""
