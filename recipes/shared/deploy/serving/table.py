"""The messages of TensorFlow Serving, the Open Inference Protocol (KServe v2) and gRPC's health.

Field names and numbers as published: tensorflow/serving 2.21 (`tensorflow_serving/apis`),
tensorflow 2.21 (`tensorflow/core`), kserve/open-inference-protocol, grpc/grpc `health.proto`. A
line is a message and its fields, `number type name`: `T[]` is repeated, `T{}` a map from strings,
and `a:name` belongs to the oneof `a`. Fields that a server has no use for are left out; protobuf
keeps them.
"""

from __future__ import annotations

PACKAGES = {
    "tensorflow": """
DataType = DT_INVALID DT_FLOAT DT_DOUBLE DT_INT32 DT_UINT8 DT_INT16 DT_INT8 DT_STRING DT_COMPLEX64 \
DT_INT64 DT_BOOL DT_QINT8 DT_QUINT8 DT_QINT32 DT_BFLOAT16 DT_QINT16 DT_QUINT16 DT_UINT16 \
DT_COMPLEX128 DT_HALF DT_RESOURCE DT_VARIANT DT_UINT32 DT_UINT64
TensorShapeProto: 2 TensorShapeProto.Dim[] dim, 3 bool unknown_rank
TensorShapeProto.Dim: 1 int64 size, 2 string name
TensorProto: 1 DataType dtype, 2 TensorShapeProto tensor_shape, 3 int32 version_number, \
4 bytes tensor_content, 5 float[] float_val, 6 double[] double_val, 7 int32[] int_val, \
8 bytes[] string_val, 9 float[] scomplex_val, 10 int64[] int64_val, 11 bool[] bool_val, \
12 double[] dcomplex_val, 13 int32[] half_val, 16 uint32[] uint32_val, 17 uint64[] uint64_val
TensorInfo: 1 string encoding:name, 2 DataType dtype, 3 TensorShapeProto tensor_shape, \
4 TensorInfo.CooSparse encoding:coo_sparse
TensorInfo.CooSparse: 1 string values_tensor_name, 2 string indices_tensor_name, \
3 string dense_shape_tensor_name
SignatureDef: 1 TensorInfo{} inputs, 2 TensorInfo{} outputs, 3 string method_name, \
4 TensorProto{} defaults
MetaGraphDef.MetaInfoDef: 4 string[] tags, 5 string tensorflow_version
MetaGraphDef: 1 MetaGraphDef.MetaInfoDef meta_info_def, 5 SignatureDef{} signature_def
SavedModel: 1 int64 saved_model_schema_version, 2 MetaGraphDef[] meta_graphs
BytesList: 1 bytes[] value
FloatList: 1 float[] value
Int64List: 1 int64[] value
Feature: 1 BytesList kind:bytes_list, 2 FloatList kind:float_list, 3 Int64List kind:int64_list
Features: 1 Feature{} feature
Example: 1 Features features
""",
    "tensorflow.error": """
Code = OK CANCELLED UNKNOWN INVALID_ARGUMENT DEADLINE_EXCEEDED NOT_FOUND ALREADY_EXISTS \
PERMISSION_DENIED RESOURCE_EXHAUSTED FAILED_PRECONDITION ABORTED OUT_OF_RANGE UNIMPLEMENTED \
INTERNAL UNAVAILABLE DATA_LOSS UNAUTHENTICATED
""",
    "tensorflow.serving": """
ModelSpec: 1 string name, 2 google.protobuf.Int64Value version_choice:version, \
3 string signature_name, 4 string version_choice:version_label
PredictRequest: 1 ModelSpec model_spec, 2 tensorflow.TensorProto{} inputs, 3 string[] output_filter
PredictResponse: 1 tensorflow.TensorProto{} outputs, 2 ModelSpec model_spec
ExampleList: 1 tensorflow.Example[] examples
ExampleListWithContext: 1 tensorflow.Example[] examples, 2 tensorflow.Example context
Input: 1 ExampleList kind:example_list, 2 ExampleListWithContext kind:example_list_with_context
Class: 1 string label, 2 float score
Classifications: 1 Class[] classes
ClassificationResult: 1 Classifications[] classifications
ClassificationRequest: 1 ModelSpec model_spec, 2 Input input
ClassificationResponse: 1 ClassificationResult result, 2 ModelSpec model_spec
Regression: 1 float value
RegressionResult: 1 Regression[] regressions
RegressionRequest: 1 ModelSpec model_spec, 2 Input input
RegressionResponse: 1 RegressionResult result, 2 ModelSpec model_spec
InferenceTask: 1 ModelSpec model_spec, 2 string method_name
InferenceResult: 1 ModelSpec model_spec, 2 ClassificationResult result:classification_result, \
3 RegressionResult result:regression_result
MultiInferenceRequest: 1 InferenceTask[] tasks, 2 Input input
MultiInferenceResponse: 1 InferenceResult[] results
SignatureDefMap: 1 tensorflow.SignatureDef{} signature_def
GetModelMetadataRequest: 1 ModelSpec model_spec, 2 string[] metadata_field
GetModelMetadataResponse: 1 ModelSpec model_spec, 2 google.protobuf.Any{} metadata
GetModelStatusRequest: 1 ModelSpec model_spec
ModelVersionStatus.State = UNKNOWN START=10 LOADING=20 AVAILABLE=30 UNLOADING=40 END=50
StatusProto: 1 tensorflow.error.Code error_code, 2 string error_message
ModelVersionStatus: 1 int64 version, 2 ModelVersionStatus.State state, 3 StatusProto status
GetModelStatusResponse: 1 ModelVersionStatus[] model_version_status
FileSystemStoragePathSourceConfig:
FileSystemStoragePathSourceConfig.ServableVersionPolicy: \
100 FileSystemStoragePathSourceConfig.ServableVersionPolicy.Latest policy_choice:latest, \
101 FileSystemStoragePathSourceConfig.ServableVersionPolicy.All policy_choice:all, \
102 FileSystemStoragePathSourceConfig.ServableVersionPolicy.Specific policy_choice:specific
FileSystemStoragePathSourceConfig.ServableVersionPolicy.Latest: 1 uint32 num_versions
FileSystemStoragePathSourceConfig.ServableVersionPolicy.All:
FileSystemStoragePathSourceConfig.ServableVersionPolicy.Specific: 1 int64[] versions
ModelType = MODEL_TYPE_UNSPECIFIED TENSORFLOW OTHER
ModelConfig: 1 string name, 2 string base_path, 3 ModelType model_type, 4 string model_platform, \
7 FileSystemStoragePathSourceConfig.ServableVersionPolicy model_version_policy, \
8 int64{} version_labels
ModelConfigList: 1 ModelConfig[] config
ModelServerConfig: 1 ModelConfigList config:model_config_list, \
2 google.protobuf.Any config:custom_model_config
ReloadConfigRequest: 1 ModelServerConfig config
ReloadConfigResponse: 1 StatusProto status
""",
    "inference": """
ServerLiveRequest:
ServerLiveResponse: 1 bool live
ServerReadyRequest:
ServerReadyResponse: 1 bool ready
ModelReadyRequest: 1 string name, 2 string version
ModelReadyResponse: 1 bool ready
ServerMetadataRequest:
ServerMetadataResponse: 1 string name, 2 string version, 3 string[] extensions
ModelMetadataRequest: 1 string name, 2 string version
ModelMetadataResponse: 1 string name, 2 string[] versions, 3 string platform, \
4 ModelMetadataResponse.TensorMetadata[] inputs, 5 ModelMetadataResponse.TensorMetadata[] outputs
ModelMetadataResponse.TensorMetadata: 1 string name, 2 string datatype, 3 int64[] shape
InferParameter: 1 bool parameter_choice:bool_param, 2 int64 parameter_choice:int64_param, \
3 string parameter_choice:string_param, 4 double parameter_choice:double_param, \
5 uint64 parameter_choice:uint64_param
InferTensorContents: 1 bool[] bool_contents, 2 int32[] int_contents, 3 int64[] int64_contents, \
4 uint32[] uint_contents, 5 uint64[] uint64_contents, 6 float[] fp32_contents, \
7 double[] fp64_contents, 8 bytes[] bytes_contents
ModelInferRequest: 1 string model_name, 2 string model_version, 3 string id, \
4 InferParameter{} parameters, 5 ModelInferRequest.InferInputTensor[] inputs, \
6 ModelInferRequest.InferRequestedOutputTensor[] outputs, 7 bytes[] raw_input_contents
ModelInferRequest.InferInputTensor: 1 string name, 2 string datatype, 3 int64[] shape, \
4 InferParameter{} parameters, 5 InferTensorContents contents
ModelInferRequest.InferRequestedOutputTensor: 1 string name, 2 InferParameter{} parameters
ModelInferResponse: 1 string model_name, 2 string model_version, 3 string id, \
4 InferParameter{} parameters, 5 ModelInferResponse.InferOutputTensor[] outputs, \
6 bytes[] raw_output_contents
ModelInferResponse.InferOutputTensor: 1 string name, 2 string datatype, 3 int64[] shape, \
4 InferParameter{} parameters, 5 InferTensorContents contents
""",
    "grpc.health.v1": """
HealthCheckRequest: 1 string service
HealthCheckResponse.ServingStatus = UNKNOWN SERVING NOT_SERVING SERVICE_UNKNOWN
HealthCheckResponse: 1 HealthCheckResponse.ServingStatus status
""",
}

SERVICES = {
    "tensorflow.serving.PredictionService": {
        "Classify": ("ClassificationRequest", "ClassificationResponse"),
        "Regress": ("RegressionRequest", "RegressionResponse"),
        "Predict": ("PredictRequest", "PredictResponse"),
        "MultiInference": ("MultiInferenceRequest", "MultiInferenceResponse"),
        "GetModelMetadata": ("GetModelMetadataRequest", "GetModelMetadataResponse"),
    },
    "tensorflow.serving.ModelService": {
        "GetModelStatus": ("GetModelStatusRequest", "GetModelStatusResponse"),
        "HandleReloadConfigRequest": ("ReloadConfigRequest", "ReloadConfigResponse"),
    },
    "inference.GRPCInferenceService": {
        name: (f"{name}Request", f"{name}Response")
        for name in (
            "ServerLive",
            "ServerReady",
            "ModelReady",
            "ServerMetadata",
            "ModelMetadata",
            "ModelInfer",
        )
    },
    "grpc.health.v1.Health": {"Check": ("HealthCheckRequest", "HealthCheckResponse")},
}
"""The methods of each service, with the messages of its own package that each takes and gives."""
