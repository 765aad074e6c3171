"""A table of records to work with: sort, filter, page, choose, copy and edit, one page in the browser at a time."""
