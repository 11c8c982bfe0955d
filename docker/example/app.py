"""A shop: the api takes orders, a worker packs them, and beat has the packed ones shipped."""
import os
import time
from urllib.parse import quote

import psycopg2
from celery import Celery
from flask import Flask, jsonify

app = Flask(__name__)
password, host = quote(os.environ["REDIS_PASSWORD"], safe=""), os.environ.get("REDIS_HOST", "redis")
celery = Celery("shop", broker=f"redis://:{password}@{host}/1")
celery.conf.beat_schedule = {"ship": {"task": "app.ship", "schedule": 2.0}}


def sql(statement, *values):
    """Runs one statement in a transaction; where the server is, libpq reads from PGHOST and the like."""
    connection = psycopg2.connect("")
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute(statement, values)
            return cursor.fetchall() if cursor.description else []
    finally:
        connection.close()


@celery.task
def pack(order):
    """Takes a while, and must not be torn from the worker's hands."""
    sql("UPDATE orders SET state = 'packing' WHERE id = %s", order)
    time.sleep(3)
    sql("UPDATE orders SET state = 'packed' WHERE id = %s", order)


@celery.task
def ship():
    """What is packed leaves the house."""
    sql("UPDATE orders SET state = 'shipped' WHERE state = 'packed'")


@app.get("/health")
def health():
    """Answers for this process alone."""
    return "ok"


@app.post("/orders")
def take():
    """Takes an order."""
    [(order,)] = sql("INSERT INTO orders (state) VALUES ('new') RETURNING id")
    pack.delay(order)
    return jsonify(id=order), 201


@app.get("/orders/<int:order>")
def show(order):
    """Where an order is."""
    rows = sql("SELECT state FROM orders WHERE id = %s", order)
    return jsonify(state=rows[0][0]) if rows else ("no such order", 404)
