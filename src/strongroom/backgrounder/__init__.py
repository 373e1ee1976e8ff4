"""The backgrounder: the process that runs jobs, such as a re-encryption of a site, as workflows that survive a crash."""
