"""The user's own pictures: folders, tables of files, arrays, and files of these."""
