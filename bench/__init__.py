"""How fast it is, and how much memory it takes, side by side with the plainest way to do the same.

Every figure is a ratio of two things measured in turn, in one run on one machine; README.md says
what each means. Nothing here is part of the product.
"""
