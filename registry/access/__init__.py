"""Who may do what with a database and a bucket: roles of PostgreSQL, policies of S3."""
