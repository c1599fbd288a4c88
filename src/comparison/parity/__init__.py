"""Do both twins take the same steps? Measured by gap and floor."""
