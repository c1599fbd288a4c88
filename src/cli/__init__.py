"""The command line: options, then what each verb does with them."""
