"""Native operations. (Written with the first one.)"""
