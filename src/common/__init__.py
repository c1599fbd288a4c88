"""What every other part uses: files, errors, hardware, the clock, progress, caches."""
