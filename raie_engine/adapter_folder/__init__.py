"""A region's adapter as a folder that others read: PEFT's format, a model card, and the model that it belongs to."""
