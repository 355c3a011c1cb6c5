"""The LCE flatbuffer: conversion, quantization, metadata."""
