"""Images: rows of sections that compute their bytes when somebody asks."""
