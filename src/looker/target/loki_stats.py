"""The statistics at the end of Loki's JSON answers, with all figures but one at zero."""

from __future__ import annotations

from functools import cache
from typing import Any

import orjson

_SUMMARY = [
    "bytesProcessedPerSecond",
    "linesProcessedPerSecond",
    "totalBytesProcessed",
    "totalLinesProcessed",
    "execTime",
    "queueTime",
    "subqueries",
    "totalEntriesReturned",
    "splits",
    "shards",
    "totalPostFilterLines",
    "totalStructuredMetadataBytesProcessed",
]
_CHUNK = [
    "headChunkBytes",
    "headChunkLines",
    "decompressedBytes",
    "decompressedLines",
    "compressedBytes",
    "totalDuplicates",
    "postFilterLines",
    "headChunkStructuredMetadataBytes",
    "decompressedStructuredMetadataBytes",
]
_OBJECTS = [
    "prePredicateDecompressedRows",
    "prePredicateDecompressedBytes",
    "prePredicateDecompressedStructuredMetadataBytes",
    "postPredicateRows",
    "postPredicateDecompressedBytes",
    "postPredicateStructuredMetadataBytes",
    "postFilterRows",
    "pagesScanned",
    "pagesDownloaded",
    "pagesDownloadedBytes",
    "pageBatches",
    "totalRowsAvailable",
    "totalPageDownloadTime",
    "wireBytesTransferred",
]
_CACHES = [
    "chunk",
    "index",
    "result",
    "statsResult",
    "volumeResult",
    "seriesResult",
    "labelResult",
    "instantMetricResult",
    "logResult",
    "taskResult",
]
_CACHE = [
    "entriesFound",
    "entriesRequested",
    "entriesStored",
    "bytesReceived",
    "bytesSent",
    "requests",
    "downloadTime",
    "queryLengthServed",
]


def _zeros(names: list[str]) -> dict[str, Any]:
    return dict.fromkeys(names, 0)


def _store() -> dict[str, Any]:
    return {
        "totalChunksRef": 0,
        "totalChunksDownloaded": 0,
        "chunksDownloadTime": 0,
        "queryReferencedStructuredMetadata": False,
        "queryUsedV2Engine": False,
        "chunk": _zeros(_CHUNK),
        "chunkRefsFetchTime": 0,
        "congestionControlLatency": 0,
        "pipelineWrapperFilteredLines": 0,
        "dataobj": _zeros(_OBJECTS),
    }


@cache
def _template() -> tuple[bytes, bytes]:
    """Return what stands before and behind the number of entries."""
    stats = {
        "summary": _zeros(_SUMMARY) | {"totalEntriesReturned": "N"},
        "querier": {"store": _store(), "querierExecTime": 0},
        "ingester": {
            "totalReached": 1,
            "totalChunksMatched": 0,
            "totalBatches": 0,
            "totalLinesSent": 0,
            "store": _store(),
            "recvWaitTime": 0,
        },
        "cache": {name: _zeros(_CACHE) for name in _CACHES},
        "index": {
            "totalChunks": 0,
            "postFilterChunks": 0,
            "shardsDuration": 0,
            "usedBloomFilters": False,
            "totalStreams": 0,
            "chunkRefsLookupTime": 0,
            "bloomFilterTime": 0,
        },
    }
    before, _, behind = orjson.dumps(stats).partition(b'"N"')
    return before, behind


def stats_json(n_entries: int) -> bytes:
    """Write the statistics of an answer with so many entries."""
    before, behind = _template()
    return before + str(n_entries).encode() + behind
