"""Statistics, tables, leaderboards and the HTML report: pure functions of run folders."""
