"""Who must say yes, in which order: stages of a review, on whose behalf somebody decides, and who is asked."""
