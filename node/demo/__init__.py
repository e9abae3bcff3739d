"""A federation on one machine: separate processes, each with its own folder, database, keys and State CA."""
