"""What every part of the house uses: files, errors, hardware, progress, caches."""
