"""Threads, queues, time, supervision and counting; nothing here knows what a picture is."""
