"""From the bytes of a JPEG, PNG, TIFF or DICOM file to a grey image and warnings: one reader for training and serving."""
