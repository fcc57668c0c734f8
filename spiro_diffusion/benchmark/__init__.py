"""The judge as a public benchmark: task folder, submission format, scoring, table of results."""
