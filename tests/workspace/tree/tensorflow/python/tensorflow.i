%{
#define NPY_NO_DEPRECATED_API NPY_1_7_API_VERSION
#include <stdexcept>

#include "numpy/arrayobject.h"
#include "moments.h"
#include "tensorflow/core/kernels/kernels.h"

namespace {

// An array of floats that are one after another; nullptr, with Python's error set, where it can't be made.
PyArrayObject* Floats(PyObject* value) {
  return reinterpret_cast<PyArrayObject*>(PyArray_FROMANY(value, NPY_FLOAT, 1, 1, NPY_ARRAY_CARRAY_RO));
}

const float* Values(PyArrayObject* array) { return static_cast<const float*>(PyArray_DATA(array)); }

}  // namespace
%}

%init %{
  import_array();
%}

%exception {
  $action
  if (PyErr_Occurred()) SWIG_fail;
}

%inline %{
float dot(PyObject* a, PyObject* b) {
  PyArrayObject* const first = Floats(a);
  PyArrayObject* const second = first ? Floats(b) : nullptr;
  float result = 0;
  if (second && PyArray_SIZE(first) != PyArray_SIZE(second)) {
    PyErr_SetString(PyExc_ValueError, "the arrays have different sizes");
  } else if (second) {
    result = tensorflow::Dot(Values(first), Values(second), PyArray_SIZE(first));
  }
  Py_XDECREF(first);
  Py_XDECREF(second);
  return result;
}

PyObject* run(const char* name, PyObject* a, PyObject* b) {
  PyArrayObject* const first = Floats(a);
  PyArrayObject* const second = first ? Floats(b) : nullptr;
  PyObject* result = nullptr;
  if (second && PyArray_SIZE(first) != PyArray_SIZE(second)) {
    PyErr_SetString(PyExc_ValueError, "the arrays have different sizes");
  } else if (second) {
    npy_intp count = PyArray_SIZE(first);
    result = PyArray_SimpleNew(1, &count, NPY_FLOAT);
    float* const values = static_cast<float*>(PyArray_DATA(reinterpret_cast<PyArrayObject*>(result)));
    try {
      tensorflow::Run(name, Values(first), Values(second), count, values);
    } catch (const std::invalid_argument& error) {
      PyErr_SetString(PyExc_ValueError, error.what());
      Py_CLEAR(result);
    }
  }
  Py_XDECREF(first);
  Py_XDECREF(second);
  return result;
}

PyObject* product(PyObject* a, PyObject* b, int size) {
  PyArrayObject* const first = Floats(a);
  PyArrayObject* const second = first ? Floats(b) : nullptr;
  PyObject* result = nullptr;
  npy_intp count = npy_intp(size) * size;
  if (second && (PyArray_SIZE(first) != count || PyArray_SIZE(second) != count)) {
    PyErr_SetString(PyExc_ValueError, "the arrays are not of that size");
  } else if (second) {
    result = PyArray_SimpleNew(1, &count, NPY_FLOAT);
    float* const values = static_cast<float*>(PyArray_DATA(reinterpret_cast<PyArrayObject*>(result)));
    tensorflow::Product(Values(first), Values(second), size, values);
  }
  Py_XDECREF(first);
  Py_XDECREF(second);
  return result;
}

PyObject* sines() {
  npy_intp count = 64;
  PyObject* const result = PyArray_SimpleNew(1, &count, NPY_FLOAT);
  float* const values = static_cast<float*>(PyArray_DATA(reinterpret_cast<PyArrayObject*>(result)));
  for (int i = 0; i < count; ++i) values[i] = tensorflow::kSines[i];
  return result;
}

float variance(PyObject* a) {
  PyArrayObject* const array = Floats(a);
  if (!array) return 0;
  const float result = moments::Variance(std::vector<float>(Values(array), Values(array) + PyArray_SIZE(array)));
  Py_DECREF(array);
  return result;
}

const char* names() { return tensorflow::kNames; }
%}
