"""The judge as a public protocol: what another group is given, how its curves are judged, the table of rows."""
