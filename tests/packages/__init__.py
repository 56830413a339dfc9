"""What is handed out: tests of the files in dist/, which packaging/build makes."""
