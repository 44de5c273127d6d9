"""Images that are labelled as a whole, for classification: image_folder.py lists them, crops.py cuts them out."""
