"""The waterfall: when each phase of each attempt began and how long it took, as a page or as a HAR.

`chart` has the values, `page` and `har` write them down. None of them holds a query, a header or a
credential, because a chart has no place for one.
"""
