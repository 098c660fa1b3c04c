"""A file a page: each makes the data of its page, which are its JSON form, too."""
