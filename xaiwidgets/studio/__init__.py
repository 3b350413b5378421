"""What is asked (the Lens), who works on it (the Runner), what came of it (the Studio). No widgets, no torch."""
