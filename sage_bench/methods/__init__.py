"""The interface of a training method: what it is given, what it returns, and the maths they
share."""
