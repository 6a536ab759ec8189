# SPDX-License-Identifier: MIT
"""Objects, recursion, dictionaries and sorting: trees.py KEYS."""
import sys


class Node:
    __slots__ = ("key", "left", "right")

    def __init__(self, key):
        self.key, self.left, self.right = key, None, None


def insert(node, key):
    if node is None:
        return Node(key)
    if key < node.key:
        node.left = insert(node.left, key)
    else:
        node.right = insert(node.right, key)
    return node


def depth(node):
    return 1 + max(depth(node.left), depth(node.right)) if node else 0


def main(keys):
    root, x, words = None, 1, {}
    for i in range(keys):
        x = x * 48271 % 2147483647
        root = insert(root, x)
        word = "w%d" % (i * i % 997)
        words[word] = words.get(word, 0) + 1
    print(depth(root), sorted(words.items(), key=lambda row: (-row[1], row[0]))[:3])


main(int(sys.argv[1]))
