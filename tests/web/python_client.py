"""A python-socketio client of a running dashboard: prints what it received, as one JSON object.

usage: python_client.py URL POINTS

Joins both namespaces, says `test_connect`, waits for POINTS points and as many legacy messages. The packages are
pinned in requirements.txt.
"""

import json
import sys
import threading

import socketio

url, wanted = sys.argv[1], int(sys.argv[2])
got = {"connected": None, "hello": None, "points": [], "messages": []}
done = threading.Event()
client = socketio.Client(reconnection=False)


def check():
    if got["connected"] and got["hello"] and min(len(got["points"]), len(got["messages"])) >= wanted:
        done.set()


@client.on("connect")
def joined():
    client.emit("test_connect", {"data": "hello"})


@client.on("connected")
def connected(data):
    got["connected"] = data
    check()


@client.on("test_message")
def test_message(data):
    got["messages"].append(data)
    check()


@client.on("hello", namespace="/live")
def hello(data):
    got["hello"] = data
    check()


@client.on("point", namespace="/live")
def point(data):
    got["points"].append(data)
    check()


client.connect(url, namespaces=["/", "/live"], auth={})
ended = done.wait(20)
client.disconnect()
print(json.dumps(got))
sys.exit(0 if ended else "not everything came within 20 s")
