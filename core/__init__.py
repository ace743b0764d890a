"""The house without its face: the verbs (launch, control, track, audit, doctor) and their rooms."""
