"""Work for other processes: what a worker computes, what it is sent and answers, and the line between it and a store.

A worker never opens a store. It computes what a store has sent, and that store commits. So a piece of work may be done
twice, or never come back: no answer changes. Celery is imported in `app.py` and `line.py` alone.
"""
