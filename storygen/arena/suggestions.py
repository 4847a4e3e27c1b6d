"""Prompts for those who have none of their own."""

SUGGESTIONS = (
    "The Lighthouse That Slept",
    "A story about a snail who wants to see the sea",
    "The King's Lost Button",
    "A bear learns to bake bread",
    "The girl who could talk to the wind",
    "Two brothers and a golden key",
    "The Very Small Dragon",
    "A kind stranger comes to the village in winter",
    "The clock that ran backwards",
    "A mouse, a lantern and a long night",
    "The fisherman's daughter and the moon",
    "Why the owl is awake at night",
)
