"""What joins faces and networks: a run's configuration, training, prediction, evaluation, figures."""
