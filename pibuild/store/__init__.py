"""Artifacts and proven wheels by key, in a folder of this machine and in one that machines share."""
