"""Count rows and markers: written from the stream and by the rebuild."""
