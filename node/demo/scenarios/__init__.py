"""The five stories the demo plays, each a module with `play(stage)`."""
