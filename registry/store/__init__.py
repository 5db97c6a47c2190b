"""Where blobs are kept: in a folder or in a bucket, under their sha256."""
