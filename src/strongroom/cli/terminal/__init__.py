"""How a command line is read and answered: the session, the two streams, questions, bars, columns, short ids."""
