/* Modular arithmetic on unsigned 64-bit numbers. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

typedef unsigned long long u64;

static u64 multiply(u64 left, u64 right, u64 modulus)
{
    return (u64)((unsigned __int128)left * right % modulus);
}

static PyObject *powmod(PyObject *self, PyObject *arguments)
{
    PyObject *items[3];
    u64 numbers[3];

    (void)self;
    if (!PyArg_ParseTuple(arguments, "OOO:powmod", &items[0], &items[1], &items[2])) {
        return NULL;
    }
    for (int i = 0; i < 3; i++) {
        numbers[i] = PyLong_AsUnsignedLongLong(items[i]);
        if (PyErr_Occurred()) {
            return NULL;
        }
    }
    if (numbers[2] == 0) {
        PyErr_SetString(PyExc_ZeroDivisionError, "powmod: the modulus is 0");
        return NULL;
    }
    u64 modulus = numbers[2], base = numbers[0] % modulus, exponent = numbers[1], result = 1 % modulus;
    for (; exponent; exponent >>= 1) {
        if (exponent & 1) {
            result = multiply(result, base, modulus);
        }
        base = multiply(base, base, modulus);
    }
    return PyLong_FromUnsignedLongLong(result);
}

static PyMethodDef methods[] = {
    {"powmod", powmod, METH_VARARGS, "powmod(base, exponent, modulus): base to the exponent, modulo modulus."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef module = {
    PyModuleDef_HEAD_INIT, "bindings", "Modular arithmetic.", -1, methods, NULL, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit_bindings(void)
{
    return PyModule_Create(&module);
}
