"""Files in object storage, under URLs as users write them; fsspec reads and writes them.

``urls`` says what a URL is and takes credentials off it, and ``object_store`` lists, reads and writes objects.
"""
