"""What is shown of an examination: on a terminal, as JSON, as a page, as HAR."""
