"""Step judges: who says which step of a response is the first wrong one (SGPO). One file a judge;
`base` is the protocol."""
