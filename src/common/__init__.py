"""What every part of the house uses: files, errors, hardware, the clock, progress, caches."""
